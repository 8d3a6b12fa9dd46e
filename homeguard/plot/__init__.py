"""The timeline picture of a recording: collected (`timeline`), then drawn (`drawing`)."""
