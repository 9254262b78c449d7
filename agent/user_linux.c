/*
 * user_linux.c - who a command runs as, by the guest's own files
 *
 * A C library's functions would read whatever stands at their names, to its end, and ask a name
 * service behind a socket; a command that is root can make each of them wait for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os_linux.h"

#define LINES_MAX (1U << 20) /* bytes of either file that are looked at */

/* fields of /etc/passwd, and of /etc/group */
enum { PASSWD_NAME, PASSWD_PASSWORD, PASSWD_UID, PASSWD_GID, PASSWD_GECOS, PASSWD_HOME, FIELDS };
enum { GROUP_NAME, GROUP_PASSWORD, GROUP_GID, GROUP_MEMBERS };

static bool number(const char *text, unsigned *ret)
{
	char *end;
	unsigned long v;

	if (!*text || strlen(text) >= 16 || *text < '0' || *text > '9')
		return false;
	v = strtoul(text, &end, 10);
	*ret = (unsigned)v;
	return !*end && v < UINT_MAX;
}

/* whole lines, to free(): a number that is cut short would be another's */
static char *read_lines(int etc, const char *name)
{
	char *text = file_text(etc, name, LINES_MAX), *end;

	if (text && strlen(text) == LINES_MAX) {
		end = strrchr(text, '\n');
		*(end ? end : text) = '\0';
	}
	return text;
}

/* the next line of *@at, taken apart in place, missing fields as ""; false at the end */
static bool next_line(char **at, char *field[FIELDS])
{
	char *line = *at, *end;

	if (!line || !*line)
		return false;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	*at = end ? end + 1 : NULL;
	for (int i = 0; i < FIELDS; i++) {
		field[i] = line;
		line += strcspn(line, ":");
		if (*line)
			*line++ = '\0';
	}
	return true;
}

/* true with what its line says; one of another name or number is passed over */
static bool find_passwd(char *text, const char *name, unsigned id, bool by_id, struct user *ret)
{
	char *field[FIELDS];
	unsigned uid, gid;

	while (next_line(&text, field)) {
		if (!number(field[PASSWD_UID], &uid) || !number(field[PASSWD_GID], &gid) ||
		    (by_id ? uid != id : strcmp(field[PASSWD_NAME], name) != 0))
			continue;
		ret->uid = uid;
		ret->gid = gid;
		snprintf(ret->name, sizeof(ret->name), "%s", field[PASSWD_NAME]);
		if (*field[PASSWD_HOME])
			snprintf(ret->home, sizeof(ret->home), "%s", field[PASSWD_HOME]);
		return true;
	}
	return false;
}

static bool is_member(char *members, const char *name)
{
	char *save, *m = strtok_r(members, ",", &save);

	while (m && strcmp(m, name) != 0)
		m = strtok_r(NULL, ",", &save);
	return m != NULL;
}

/* the groups whose lines name the user */
static void add_groups(char *text, struct user *u)
{
	char *field[FIELDS];
	unsigned gid;

	while (u->groups < USER_GROUPS && next_line(&text, field))
		if (number(field[GROUP_GID], &gid) && gid != u->gid &&
		    is_member(field[GROUP_MEMBERS], u->name))
			u->group[u->groups++] = gid;
}

static bool find_group(char *text, const char *name, struct user *u)
{
	char *field[FIELDS];
	unsigned gid;

	while (next_line(&text, field)) {
		if (strcmp(field[GROUP_NAME], name) != 0 || !number(field[GROUP_GID], &gid))
			continue;
		u->gid = gid;
		return true;
	}
	return false;
}

/* what is wrong with a file that should have named somebody */
static int nobody(struct why *why, const char *what, const char *name, const char *file, int error)
{
	if (!error)
		return refuse(why, ERROR_USER, 0, "there is no %s '%.64s' in the guest", what,
			      name);
	return refuse(why, ERROR_USER, error, "there is no %s '%.64s' in the guest: /etc/%s: %s",
		      what, name, file, error == EINVAL ? "it is no file" : strerror(error));
}

static int find_name(int etc, const char *name, struct user *ret, bool *known, struct why *why)
{
	char *text = read_lines(etc, "passwd");
	int error = text ? 0 : errno;
	unsigned id = 0;
	bool by_id = number(name, &id);

	*ret = (struct user){ .uid = id, .gid = id, .home = "/" };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	*known = text && find_passwd(text, name, id, by_id, ret);
	free(text);
	return *known || by_id ? 0 : nobody(why, "user", name, "passwd", error);
}

int user_find(int etc, const char *text, struct user *ret, struct why *why)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : strlen(text);
	char name[64], *groups;
	unsigned id;
	bool known;
	int error, r = 0;

	if (len >= sizeof(name))
		return refuse(why, ERROR_USER, 0, "a user's name of %zu bytes is too long", len);
	memcpy(name, text, len);
	name[len] = '\0';
	if (find_name(etc, name, ret, &known, why))
		return -1;
	if (colon && number(colon + 1, &id)) {
		ret->gid = id;
	} else if (colon || known) {
		groups = read_lines(etc, "group");
		error = groups ? 0 : errno;
		if (!colon && groups) {
			ret->groups = 1;
			add_groups(groups, ret);
		} else if (colon && (!groups || !find_group(groups, colon + 1, ret))) {
			r = nobody(why, "group", colon + 1, "group", error);
		}
		free(groups);
	}
	ret->group[0] = ret->gid;
	if (!ret->groups)
		ret->groups = 1;
	return r;
}
