/* complain.h - what the command would have complained of, kept instead */
#ifndef HUTCH_TEST_COMPLAIN_H
#define HUTCH_TEST_COMPLAIN_H

extern char complained[2048]; /* the last one */

#endif
