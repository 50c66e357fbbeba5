// Ends before it has a picture.
process.exit(3);
