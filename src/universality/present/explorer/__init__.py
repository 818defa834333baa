"""What `universality explore` serves: the report, and the features of any text on demand."""
