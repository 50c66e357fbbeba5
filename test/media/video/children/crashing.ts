// Ends as a program in C does that follows a wrong pointer.
process.on('message', () => process.kill(process.pid, 'SIGSEGV'));
