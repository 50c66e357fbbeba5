// Never comes to an end, and says nothing.
process.on('message', () => {
  for (;;);
});
