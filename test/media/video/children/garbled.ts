// Sends a message of an unknown form.
process.on('message', () => process.send?.({ kind: 'opened', description: 'a nice video' }));
