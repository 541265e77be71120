// A picture to embedding rows in one go, for the commands that have nothing else to do meanwhile.
#ifndef CLI_ENCODE_H
#define CLI_ENCODE_H

#include "cli/options.h"
#include "vision/vision.h"

// The limits of the command line as the vision layer wants them.
struct vision_options cli_vision_limits(const struct cli_options *o);

// The picture of --image, prepared. Returns new.
struct vision_image *cli_prepare_image(const struct vision *v, const struct cli_options *o, struct err *err);

// Takes image, runs every layer. Returns new finished encode.
struct vision_encode *cli_encode(struct vision *v, struct vision_image *image, struct err *err);

#endif
