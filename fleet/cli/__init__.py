"""The command line: words in, words out; everything else is done by `service`."""
