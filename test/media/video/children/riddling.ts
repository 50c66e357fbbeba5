// Says what nobody understands.
process.on('message', () => process.send?.({ kind: 'opened', description: 'a nice video' }));
