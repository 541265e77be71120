// One square of image_size pixels a side.
//
//   pad     laid in the middle of a square in the mean's colour, then resized: LLaVA-1.5's expand2square
//           (llava/mm_utils.py), then Hugging Face's CLIPImageProcessor
//   squash  resized to the square, whatever its shape: Gemma3ImageProcessor without pan and scan
#include "vision/plan.h"
#include "vision/vision_model.h"

bool plan_squash(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    p->overview = (struct size){hp->image_size, hp->image_size};
    plan_add_rows(p, vision_tile_rows(hp, p->overview));
    return true;
}

bool plan_pad(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    p->pad = true;
    return plan_squash(hp, p, err);
}
