"""Passes beside a run by the same engine: the judge's questions and the teacher's."""
