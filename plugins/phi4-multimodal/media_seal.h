/* media_seal.h - takes from a process everything but computing on the memory that it has. */
#ifndef AIRLOCK_MEDIA_SEAL_H
#define AIRLOCK_MEDIA_SEAL_H

/* Limits processor time, wall time and memory, and forbids every system call but the few that
 * computing needs: no file can be opened, no socket made, no process started, no memory made
 * executable; an attempt fails (opening a file) or kills the process.  For good, for this process.
 * 0, or -1 with errno. */
int media_seal(void);

#endif
