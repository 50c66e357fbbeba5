// Runs forever without a message.
process.on('message', () => {
  for (;;);
});
