/*
 * porter.h - who carries files between this host and a guest (layer 6)
 *
 * Root reads and writes in other users' folders by a capability that the jail
 * takes away before the guest runs, and files come and go after that.  The porter
 * is a thread that was there before: it has that one capability and no other, the
 * jail's filter of system calls as all threads have, and nothing that a guest
 * talks to directly.
 */
#ifndef HUTCH_PORTER_H
#define HUTCH_PORTER_H

struct porter;

/* before the jail, of a process without other threads that write: NULL after a complaint */
struct porter *porter_new(void);
/* @fn on its thread; and wait until that has returned */
void porter_begin(struct porter *p, void (*fn)(void *arg), void *arg);
void porter_wait(struct porter *p);
void porter_free(struct porter *p); /* NULL is fine */

#endif
