"""The report: figures, findings, pages and provenance as one static site."""
