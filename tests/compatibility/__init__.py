"""What users have stored: it goes on working, whatever the code is called by now."""
