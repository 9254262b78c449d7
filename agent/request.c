/* request.c - the bodies of requests, as what they ask for */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

static bool add_text(char **list, unsigned *n, unsigned most, const struct proto_item *item)
{
	return *n < most && (list[*n] = proto_item_text(item)) && ++*n;
}

static bool set_text(char **to, const struct proto_item *item)
{
	free(*to);
	*to = proto_item_text(item);
	return *to != NULL;
}

static bool add_rlimit(struct exec_request *x, const struct proto_item *item)
{
	if (item->len != sizeof(x->rlimit[0]) || x->rlimits == EXEC_RLIMITS)
		return false;
	memcpy(&x->rlimit[x->rlimits++], item->data, item->len);
	return true;
}

static bool exec_item(struct exec_request *x, const struct proto_item *item)
{
	switch (item->tag) {
	case TAG_ARG:
		return add_text(x->arg, &x->args, EXEC_ITEMS, item);
	case TAG_ENV:
		return add_text(x->env, &x->envs, EXEC_ITEMS, item);
	case TAG_CWD:
		return set_text(&x->cwd, item);
	case TAG_USER:
		return set_text(&x->user, item);
	case TAG_FLAGS:
		return !proto_item_number(item, &x->flags);
	case TAG_COLUMNS:
		return !proto_item_number(item, &x->columns);
	case TAG_ROWS:
		return !proto_item_number(item, &x->rows);
	case TAG_RLIMIT:
		return add_rlimit(x, item);
	default:
		return item->tag & PROTO_OPTIONAL;
	}
}

void exec_request_free(struct exec_request *x)
{
	for (unsigned i = 0; i < x->args; i++)
		free(x->arg[i]);
	for (unsigned i = 0; i < x->envs; i++)
		free(x->env[i]);
	free(x->arg);
	free(x->env);
	free(x->cwd);
	free(x->user);
}

/* how many items of @tag a body has, for a list with a NULL at its end */
static char **list_of(struct proto_reader r, uint16_t tag)
{
	struct proto_item item;
	size_t n = 1;

	while (proto_next(&r, &item) == 1)
		n += item.tag == tag;
	return calloc(n, sizeof(char *));
}

static bool is_full(const struct exec_request *x, uint16_t tag)
{
	return (tag == TAG_ARG && x->args == EXEC_ITEMS) ||
	       (tag == TAG_ENV && x->envs == EXEC_ITEMS);
}

int exec_parse(struct proto_reader r, struct exec_request *x, struct why *why)
{
	struct proto_item item;
	int more;

	x->arg = list_of(r, TAG_ARG);
	x->env = list_of(r, TAG_ENV);
	if (!x->arg || !x->env)
		return refuse(why, ERROR_SYSTEM, ENOMEM, "no memory for the command");
	while ((more = proto_next(&r, &item)) == 1)
		if (is_full(x, item.tag))
			return refuse(why, ERROR_LIMIT, E2BIG,
				      "more than %d arguments or variables", EXEC_ITEMS);
		else if (!exec_item(x, &item))
			return refuse(why, ERROR_REQUEST, 0,
				      "item %#x makes no sense to this agent", item.tag);
	if (x->flags & EXEC_DETACH) /* nobody holds the other end of a terminal */
		x->flags &= ~(uint64_t)EXEC_TTY;
	return more ? refuse(why, ERROR_REQUEST, 0, "a request that is cut short") : 0;
}

static bool add_mac(struct setup *x, const struct proto_item *item)
{
	if (item->len != sizeof(x->mac[0]) || x->macs == SETUP_MACS)
		return false;
	memcpy(&x->mac[x->macs++], item->data, item->len);
	return true;
}

static bool setup_item(struct setup *x, const struct proto_item *item)
{
	switch (item->tag) {
	case TAG_HOSTNAME:
		return set_text(&x->hostname, item);
	case TAG_ROOT:
		return set_text(&x->root, item);
	case TAG_ROOT_TYPE:
		return set_text(&x->root_type, item);
	case TAG_NET:
		return set_text(&x->net, item);
	case TAG_ID:
		return set_text(&x->id, item);
	case TAG_DNS:
		return add_text(x->dns, &x->dnss, SETUP_DNS, item);
	case TAG_ROOT_FLAGS:
		return !proto_item_number(item, &x->root_flags);
	case TAG_LAYER_SIZE:
		return !proto_item_number(item, &x->layer_size);
	case TAG_TIME_NS:
		return !proto_item_number(item, &x->time_ns);
	case TAG_PIDS_MAX:
		return !proto_item_number(item, &x->pids_max);
	case TAG_RESTORED:
		return !proto_item_number(item, &x->restored);
	case TAG_MAC:
		return add_mac(x, item);
	case TAG_ENTROPY:
		x->entropy = item->data;
		x->entropy_len = item->len;
		return true;
	default:
		return item->tag & PROTO_OPTIONAL;
	}
}

int setup_parse(struct proto_reader r, struct setup *x, struct why *why)
{
	struct proto_item item;
	int more;

	while ((more = proto_next(&r, &item)) == 1)
		if (!setup_item(x, &item))
			return refuse(why, ERROR_REQUEST, 0,
				      "item %#x makes no sense to this agent", item.tag);
	return more ? refuse(why, ERROR_REQUEST, 0, "a request that is cut short") : 0;
}

void setup_free(struct setup *x)
{
	free(x->hostname);
	free(x->root);
	free(x->root_type);
	free(x->net);
	free(x->id);
	for (unsigned i = 0; i < x->dnss; i++)
		free(x->dns[i]);
}
