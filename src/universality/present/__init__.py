"""What puts the studies together: numbers, paper, report, explorer."""
