"""May this candidate ship? Paired rows, margins, four verdicts, and an exit code that no crash can imitate."""
