/*
 * echo_rig.h - what a flat guest talks to: programs that send back what comes
 *
 * One has a network, of frames, and one port 1234 of the vsock's host.
 * Each takes any number of machines at once, so a machine and one made out of it
 * may both be connected.
 */
#ifndef HUTCH_TEST_ECHO_RIG_H
#define HUTCH_TEST_ECHO_RIG_H

/* what the keys "net" and "vsock" of a machine are */
extern char echo_net[128], echo_vsock[128];
/* of another one that is there at the same time: a machine's end of a vsock is its own */
extern char echo_vsock_too[128];

/* tests/tools/peer.c is beside the test */
void echo_setup(const char *argv0);
/* fixtures: they say it and abort when something is wrong, such as a file that a machine has left
 */
void echo_begin(void);
void echo_end(void);

#endif
