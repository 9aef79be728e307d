/* See micro_yolo.h. Computes what tflite/heads/yolo.py and tflite/decode.py of micro_yolo compute. Apache-2.0. */
#include "micro_yolo.h"

/* Grids hold s = (stored + 128) / 256. */
#define ZERO 128
#define ONE 256

/* Whether a comes after b: a lower score, or an equal one further behind in the network's order. */
static int after(const micro_yolo_candidate *a, const micro_yolo_candidate *b) {
  if (a->score != b->score) {
    return a->score < b->score;
  }
  if (a->place != b->place) {
    return a->place > b->place;
  }
  return a->kind > b->kind;
}

/* Let heap[at] sink until what is below it comes before it: the last of all candidates is on top. */
static void sink(micro_yolo_candidate *heap, size_t n, size_t at) {
  const micro_yolo_candidate moved = heap[at];
  /* at < n / 2 is what has children, and keeps 2 * at + 2 from running over. */
  while (at < n / 2) {
    size_t child = 2 * at + 1;
    if (child + 1 < n && after(&heap[child + 1], &heap[child])) {
      child++;
    }
    if (!after(&heap[child], &moved)) {
      break;
    }
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = moved;
}

/* Let heap[at] rise over all that comes before it. */
static void rise(micro_yolo_candidate *heap, size_t at) {
  const micro_yolo_candidate moved = heap[at];
  while (at > 0 && after(&moved, &heap[(at - 1) / 2])) {
    heap[at] = heap[(at - 1) / 2];
    at = (at - 1) / 2;
  }
  heap[at] = moved;
}

/* The best candidates above the threshold, as a heap; returns how many. */
static size_t gather(const micro_yolo_contract *net, const int8_t *const outputs[], int32_t threshold,
                     micro_yolo_candidate *heap, size_t room) {
  size_t n = 0;
  uint32_t place = 0;
  uint16_t r;
  for (r = 0; r < net->rows; r++) {
    const micro_yolo_row *row = &net->row[r];
    const int8_t *objectness = outputs[row->objectness];
    const int8_t *classes = outputs[row->classes];
    const uint32_t end = place + (uint32_t)row->height * row->width * row->anchors;
    for (; place < end; place++, objectness++, classes += net->classes) {
      const int32_t object = *objectness + ZERO;
      uint16_t kind;
      /* No class is above 255. */
      if (object * (ONE - 1) <= threshold) {
        continue;
      }
      for (kind = 0; kind < net->classes; kind++) {
        const int32_t score = object * (classes[kind] + ZERO);
        micro_yolo_candidate each;
        if (score <= threshold) {
          continue;
        }
        each.place = place;
        each.score = (uint16_t)score;
        each.kind = kind;
        if (n < room) {
          heap[n] = each;
          rise(heap, n);
          n++;
        } else if (after(&heap[0], &each)) {
          heap[0] = each;
          sink(heap, n, 0);
        }
      }
    }
  }
  return n;
}

static float within(float value, float most) { return value < 0.0f ? 0.0f : value > most ? most : value; }

/* The box of a candidate, clipped to the picture; 0 if nothing is left of it. */
static int decode(const micro_yolo_contract *net, const int8_t *const outputs[], const micro_yolo_candidate *candidate,
                  micro_yolo_detection *made) {
  const micro_yolo_row *row = net->row;
  uint32_t place = candidate->place, cell;
  for (;; row++) {
    const uint32_t predictions = (uint32_t)row->height * row->width * row->anchors;
    if (place < predictions) {
      break;
    }
    place -= predictions;
  }
  cell = place / row->anchors;
  {
    const int8_t *coded = outputs[row->boxes] + (size_t)place * 4;
    const float *size = row->sizes + (size_t)(place % row->anchors) * 2;
    /* In 1/128 of a cell, which floats hold exactly: 2 s - 0.5 beside the cell's corner. */
    const int32_t x = (int32_t)(cell % row->width) * 128 + coded[0] + ZERO - 64;
    const int32_t y = (int32_t)(cell / row->width) * 128 + coded[1] + ZERO - 64;
    const float centre_x = (float)(x * (int32_t)row->stride) / 128.0f;
    const float centre_y = (float)(y * (int32_t)row->stride) / 128.0f;
    const float half_width = size[0] * net->growth[coded[2] + ZERO] / 2.0f;
    const float half_height = size[1] * net->growth[coded[3] + ZERO] / 2.0f;
    made->left = within(centre_x - half_width, net->width);
    made->top = within(centre_y - half_height, net->height);
    made->right = within(centre_x + half_width, net->width);
    made->bottom = within(centre_y + half_height, net->height);
  }
  made->score = (float)candidate->score / ((float)ONE * ONE);
  made->kind = candidate->kind;
  return made->right > made->left && made->bottom > made->top;
}

static float overlap(const micro_yolo_detection *a, const micro_yolo_detection *b) {
  const float left = a->left > b->left ? a->left : b->left;
  const float top = a->top > b->top ? a->top : b->top;
  const float right = a->right < b->right ? a->right : b->right;
  const float bottom = a->bottom < b->bottom ? a->bottom : b->bottom;
  const float width = right > left ? right - left : 0.0f;
  const float height = bottom > top ? bottom - top : 0.0f;
  const float common = width * height;
  const float area_a = (a->right - a->left) * (a->bottom - a->top);
  const float area_b = (b->right - b->left) * (b->bottom - b->top);
  const float together = area_a + area_b - common;
  return common / (together > 1e-9f ? together : 1e-9f);
}

size_t micro_yolo_find(const micro_yolo_contract *net, const int8_t *const outputs[], float score_threshold,
                       float iou_threshold, micro_yolo_candidate *candidates, size_t n_candidates,
                       micro_yolo_detection *found, size_t n_found) {
  size_t n, end, i, kept = 0;
  /* Nothing scores 1; written so that what is no number finds nothing. */
  if (n_candidates == 0 || !(score_threshold < 1.0f)) {
    return 0;
  }
  n = gather(net, outputs, score_threshold < 0.0f ? -1 : (int32_t)(score_threshold * (ONE * ONE)), candidates,
             n_candidates);
  /* The last goes to the end, again and again: best first. */
  for (end = n; end > 1; end--) {
    const micro_yolo_candidate last = candidates[0];
    candidates[0] = candidates[end - 1];
    candidates[end - 1] = last;
    sink(candidates, end - 1, 0);
  }
  for (i = 0; i < n && kept < n_found; i++) {
    size_t other;
    if (!decode(net, outputs, &candidates[i], &found[kept])) {
      continue;
    }
    for (other = 0; other < kept; other++) {
      if (found[other].kind == found[kept].kind && overlap(&found[other], &found[kept]) > iou_threshold) {
        break;
      }
    }
    kept += other == kept;
  }
  return kept;
}
