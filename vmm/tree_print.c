/* tree_print.c - a tree as text for people and as JSON for programs */
#include <libfdt.h>

#include "state.h"

#define BYTES_SHOWN 32 /* of a long byte string in the text form */
#define DEPTH_MAX   32

static bool is_text(const char *v, int len)
{
	if (len < 1 || v[len - 1] || len == 4 || len == 8)
		return false;
	for (int i = 0; i < len - 1 && v[i]; i++)
		if ((unsigned char)v[i] < 0x20 || (unsigned char)v[i] == 0x7f)
			return false;
	return len == 1 || v[0];
}

static void print_text(FILE *out, const char *v)
{
	fputc('"', out);
	for (; *v; v++) {
		if (*v == '"' || *v == '\\')
			fputc('\\', out);
		fputc(*v, out);
	}
	fputc('"', out);
}

static void print_bytes(FILE *out, const uint8_t *v, int len, bool json)
{
	int shown = json ? len : MIN(len, BYTES_SHOWN);

	fputc(json ? '"' : '[', out);
	for (int i = 0; i < shown; i++)
		fprintf(out, "%02x", v[i]);
	if (shown < len)
		fprintf(out, "... %d bytes", len);
	fputc(json ? '"' : ']', out);
}

static void print_value(FILE *out, const void *v, int len, bool json)
{
	if (is_text(v, len))
		print_text(out, v);
	else if (len == 4)
		fprintf(out, json ? "%lu" : "%#lx", (unsigned long)fdt32_ld(v));
	else if (len == 8)
		fprintf(out, json ? "%lu" : "%#lx", (unsigned long)fdt64_ld(v));
	else
		print_bytes(out, v, len, json);
}

static void indent(FILE *out, int depth)
{
	for (int i = 0; i < depth; i++)
		fputs("  ", out);
}

static void print_node(const void *fdt, FILE *out, int node, int depth, bool json)
{
	const char *name, *sep = "";
	int prop, sub, len;

	if (depth > DEPTH_MAX)
		return;
	fdt_for_each_property_offset(prop, fdt, node)
	{
		const void *v = fdt_getprop_by_offset(fdt, prop, &name, &len);

		if (!v)
			break;
		if (json)
			fputs(sep, out);
		else
			indent(out, depth);
		fprintf(out, json ? "\"%s\":" : "%s = ", name);
		print_value(out, v, len, json);
		if (!json)
			fputc('\n', out);
		sep = ",";
	}
	fdt_for_each_subnode(sub, fdt, node)
	{
		name = fdt_get_name(fdt, sub, NULL);
		if (json)
			fputs(sep, out);
		else
			indent(out, depth);
		fprintf(out, json ? "\"%s\":{" : "%s {\n", name ? name : "?");
		print_node(fdt, out, sub, depth + 1, json);
		if (!json)
			indent(out, depth);
		fputs(json ? "}" : "}\n", out);
		sep = ",";
	}
}

void tree_print(const void *fdt, FILE *out, bool json)
{
	if (json)
		fputc('{', out);
	print_node(fdt, out, 0, 0, json);
	if (json)
		fputs("}\n", out);
}
