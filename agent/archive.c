/* #syscalls:caller write */
/* what packer and unpacker have in common: names, places, sentences */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "archive_format.h"

/* the bytes of a printable character of UTF-8 at @s, or 0 */
static size_t printable(const unsigned char *s, size_t len)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t code = s[0];

	if (n == 1)
		return s[0] >= 0x20 && s[0] != 0x7f;
	if (s[0] < 0xc2 || s[0] >= 0xf5 || n > len)
		return 0;
	code &= 0x7fU >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	/* no controls, surrogates, overlong forms, nor what turns the direction of a line */
	if (code < 0xa0 || (code >= 0xd800 && code < 0xe000) || (n == 3 && code < 0x800) ||
	    (n == 4 && (code < 0x10000 || code > 0x10ffff)) || (code >= 0x200b && code <= 0x200f) ||
	    (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069))
		return 0;
	return n;
}

static char *escape(char *to, size_t size, const char *name, size_t len, bool quotes)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t at = 0;

	for (size_t i = 0; i < len;) {
		size_t n = printable(s + i, len - i);
		char one[8];

		if (quotes && (s[i] == '"' || s[i] == '\\')) {
			one[0] = '\\';
			one[1] = name[i++];
			n = 2;
		} else if (n) {
			memcpy(one, s + i, n);
			i += n;
		} else {
			n = 4;
			snprintf(one, sizeof(one), "\\x%02x", s[i++]);
		}
		if (at + n + (i < len ? 3 : 0) >= size) {
			if (size > 3) {
				memcpy(to + at, "...", 3);
				at += 3;
			}
			break;
		}
		memcpy(to + at, one, n);
		at += n;
	}
	to[at] = '\0';
	return to;
}

char *archive_quote(char *to, size_t size, const char *name, size_t len)
{
	return escape(to, size, name, len, true);
}

char *archive_clean(char *to, size_t size, const char *text, size_t len)
{
	return escape(to, size, text, len, false);
}

bool archive_name_ok(const char *name, size_t len)
{
	return len && len <= ARCHIVE_NAME && !memchr(name, '/', len) && !memchr(name, 0, len) &&
	       !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

bool archive_link_ok(const char *path, size_t len)
{
	while (len) {
		const char *slash = memchr(path, '/', len);
		size_t n = slash ? (size_t)(slash - path) : len;

		if (!archive_name_ok(path, n))
			return false;
		path += n;
		len -= n;
		if (slash) {
			path++;
			if (!--len)
				return false;
		}
	}
	return true;
}

bool archive_xattrs_ok(const char *p, size_t len)
{
	struct archive_xattr x;

	while (len) {
		if (len < sizeof(x))
			return false;
		memcpy(&x, p, sizeof(x));
		p += sizeof(x);
		len -= sizeof(x);
		if (!x.name_len || x.name_len > 255 || x.name_len > len || x.zero ||
		    x.value_len > len - x.name_len || memchr(p, 0, x.name_len) ||
		    (!(x.name_len > 5 && !memcmp(p, "user.", 5)) &&
		     !(x.name_len == 19 && !memcmp(p, "security.capability", 19))))
			return false;
		p += x.name_len + x.value_len;
		len -= x.name_len + x.value_len;
	}
	return true;
}

int archive_source(const char *path, struct archive_source *ret)
{
	size_t end = strlen(path), start;

	if (!end)
		return -EINVAL;
	*ret = (struct archive_source){ .folder = path[end - 1] == '/' };
	while (end && path[end - 1] == '/')
		end--;
	for (start = end; start && path[start - 1] != '/'; start--)
		;
	if (end - start > ARCHIVE_NAME)
		return -ENAMETOOLONG;
	if (archive_name_ok(path + start, end - start))
		memcpy(ret->name, path + start, end - start);
	else /* ".", "..", "/" */
		ret->contents = ret->folder = true;
	return 0;
}

int archive_enter(struct archive_place *p, const char *name)
{
	size_t n = strlen(name), slash = p->len != 0;

	if (n + slash > ARCHIVE_PATH - p->len)
		return -ENAMETOOLONG;
	if (slash)
		p->path[p->len] = '/';
	memcpy(p->path + p->len + slash, name, n + 1);
	p->len += slash + n;
	return 0;
}

void archive_back(struct archive_place *p, size_t len)
{
	p->len = len;
	p->path[len] = '\0';
}

void archive_sentence(char *to, size_t size, int error, const char *what,
		      const struct archive_place *p)
{
	char root[256], path[256];

	if (!p) {
		snprintf(to, size, "%s%s%s", what, error ? ": " : "", error ? strerror(error) : "");
		return;
	}
	archive_quote(root, sizeof(root), p->root, strlen(p->root));
	archive_quote(path, sizeof(path), p->path, p->len);
	snprintf(to, size, "%s \"%s%s%s\"%s%s", what, root,
		 p->len && root[0] && root[strlen(root) - 1] != '/' ? "/" : "", path,
		 error ? ": " : "", error ? strerror(error) : "");
}

int archive_error(struct archive_report *r, int error, const char *what,
		  const struct archive_place *p)
{
	if (!r->error) {
		r->error = error;
		archive_sentence(r->text, sizeof(r->text), error == EPROTO ? 0 : error, what, p);
	}
	return -error;
}

void archive_note(const struct archive_opts *o, struct archive_report *r, const char *text)
{
	if (r->notes++ < ARCHIVE_NOTES && o->note)
		o->note(o->arg, text);
}

int archive_write(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}
