"""The report's page: what a run has to show, its charts and pictures."""
