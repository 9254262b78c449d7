/* files.h - PUT, GET and TREE: a process of its own that reads or writes the stream */
#ifndef HUTCH_AGENT_FILES_H
#define HUTCH_AGENT_FILES_H

#include "agent.h"

struct files_request;

/* NULL with *@why */
struct files_request *files_parse(uint8_t type, struct proto_reader r, struct why *why);
void files_free(struct files_request *x);
int files_run(void *x); /* in its process: the exit status; why it failed is on stderr */
/* DONE, or an error that points to what stderr said */
void files_say_end(struct proto_buf *out, int status);

#endif
