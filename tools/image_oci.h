/* image_oci.h - an OCI image layout as the source of an image; all complain() and return -errno */
#ifndef HUTCH_IMAGE_OCI_H
#define HUTCH_IMAGE_OCI_H

#include "image_stream.h"
#include "image_tree.h"

#define OCI_LAYERS 256

struct oci {
	const char *what;
	int dir;		   /* the layout's folder, or -1 */
	struct image_tree *files;  /* or what its archive has, and */
	struct image_source outer; /* the archive */
	const char *ref;	   /* which of several images, or NULL */

	struct image_source layers[OCI_LAYERS]; /* after oci_read(), lowest first */
	uint32_t count;
};

/*
 * oci_read() - the layers of the image for this machine, merged into an empty tree
 *
 * Every blob is checked against its digest and size.  Nodes get the number of
 * their layer as source.
 */
int oci_read(struct oci *o, struct image_tree *t);
void oci_close(struct oci *o);

#endif
