/*
 * command_flags.h - what is said of a command, alike for run and exec (layer 6)
 *
 * Their tables of flags begin with these.
 */
#ifndef HUTCH_COMMAND_FLAGS_H
#define HUTCH_COMMAND_FLAGS_H

#include <unistd.h>

#include "command.h"
#include "env.h"

enum { FLAG_STDIN, FLAG_TTY, FLAG_ENV, FLAG_ENV_FILE, FLAG_CWD, FLAG_USER, COMMAND_FLAGS };

/* clang-format off */
#define COMMAND_FLAGS_TABLE \
	[FLAG_STDIN] = { .name = "interactive", .letter = 'i', .help = "pass our stdin on" }, \
	[FLAG_TTY] = { .name = "tty", .letter = 't', .help = "give the command a terminal" }, \
	[FLAG_ENV] = { .name = "env", \
		       .letter = 'e', \
		       .arg = "NAME=VALUE", \
		       .many = true, \
		       .help = "a variable of the command; NAME alone takes ours" }, \
	[FLAG_ENV_FILE] = { .name = "env-file", \
			    .arg = "FILE", \
			    .many = true, \
			    .help = "variables, one NAME=VALUE a line, # for remarks" }, \
	[FLAG_CWD] = { .name = "workdir", \
		       .letter = 'w', \
		       .arg = "DIR", \
		       .help = "where in the guest the command begins [/]" }, \
	[FLAG_USER] = { .name = "user", \
			.letter = 'u', \
			.arg = "USER[:GROUP]", \
			.help = "who in the guest it runs as [root]" }
/* clang-format on */

/* the request that @given, @argv and @env make; its descriptors are our own */
static inline struct hutch_request command_request(const struct given *given, char **argv,
						   struct env *env)
{
	bool tty = given[FLAG_TTY].n;

	return (struct hutch_request){
		.what = HUTCH_ASK_EXEC,
		.argv = (const char *const *)argv,
		.env = env_list(env),
		.cwd = given[FLAG_CWD].text,
		.user = given[FLAG_USER].text,
		.tty = tty,
		.in = given[FLAG_STDIN].n || tty ? STDIN_FILENO : -1,
		.out = STDOUT_FILENO,
		.err = STDERR_FILENO,
	};
}

#endif
