// A picture to embedding rows in one go, for the commands that have nothing else to do meanwhile.
#ifndef CLI_ENCODE_H
#define CLI_ENCODE_H

#include "cli/options.h"
#include "vision/vision.h"

// What the command line says, as the vision layer wants it. False with ERR_INVALID_VALUE for a --param that is
// none.
bool cli_vision_options(const struct cli_options *o, struct vision_options *out, struct err *err);

// The path of --image, which must stand there once; borrowed, or NULL with ERR_INVALID_VALUE.
const char *cli_one_image(const struct cli_options *o, struct err *err);

// How the rows of the picture of this path stand in a prompt; free the spans. path may be NULL: false.
bool cli_image_layout(const struct vision *v, const struct cli_options *o, const char *path,
                      struct vision_layout *layout, struct err *err);

// The picture of this path, prepared. Returns new. path may be NULL: NULL.
struct vision_image *cli_prepare_image(const struct vision *v, const struct cli_options *o, const char *path,
                                       struct err *err);

// Takes image, runs every layer. Returns new finished encode.
struct vision_encode *cli_encode(struct vision *v, struct vision_image *image, bool keep_features,
                                 struct err *err);

#endif
