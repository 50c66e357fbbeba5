// Crashes like a C program with an invalid pointer.
process.on('message', () => process.kill(process.pid, 'SIGSEGV'));
