"""An hour of abuse: what a tool that people leave alone overnight must survive. Figures: docs/reliability.md."""
