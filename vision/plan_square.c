// One square of image_size pixels a side.
//
//   pad     laid in the middle of a square in the mean's colour, then resized: LLaVA-1.5's expand2square
//           (llava/mm_utils.py), then Hugging Face's CLIPImageProcessor
//   squash  resized to the square, whatever its shape: Gemma3ImageProcessor without pan and scan; Moondream2
//           (moondream/vision_encoder.py); SiglipImageProcessor
//   crop    the short side resized to the square's, the middle cut out: CLIPImageProcessor alone, LLaVA's
//           image_aspect_ratio "square"
//
// Where the original's square is no whole number of patches (SigLIP: 384 and 14), the ViT does not see the
// rest: the tile is its corner at the top left.
#include "vision/plan.h"

#include "vision/image.h"
#include "vision/vision_model.h"

enum { UNCUT_PIXELS_MAX = 1 << 26 }; // of a picture whose middle is cut out

static void add_overview(const struct vision_hparams *hp, struct plan *p) {
    p->overview = (struct size){hp->image_size, hp->image_size};
    plan_add_rows(p, vision_tile_rows(hp, p->overview));
}

bool plan_squash(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    (void)err;
    size_t side = hp->image_size + hp->unseen;
    p->uncut = (struct size){side, side};
    add_overview(hp, p);
    return true;
}

bool plan_pad(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    p->pad = true;
    return plan_squash(hp, p, err);
}

bool plan_crop(const struct vision_hparams *hp, struct plan *p, struct err *err) {
    size_t w = p->picture.width, h = p->picture.height, side = hp->image_size + hp->unseen;
    size_t least = w < h ? w : h, most = w < h ? h : w, longest = UNCUT_PIXELS_MAX / side;
    size_t ratio = (longest < IMAGE_SIDE_MAX ? longest : IMAGE_SIDE_MAX) / side;
    if (most > ratio * least)
        return err_set(err, ERR_IMAGE_UNSUPPORTED, "image: %zux%zu, want sides of at most %zu to 1", w, h,
                       ratio);
    p->uncut = (struct size){side * w / least, side * h / least};
    p->cut_left = (p->uncut.width - side) / 2;
    p->cut_top = (p->uncut.height - side) / 2;
    add_overview(hp, p);
    return true;
}
