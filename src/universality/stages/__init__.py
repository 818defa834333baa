"""One thin command per stage: parse, load, call, save."""
