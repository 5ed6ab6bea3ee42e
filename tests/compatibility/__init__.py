"""What users have stored: it continues working, whatever the code is called by now."""
