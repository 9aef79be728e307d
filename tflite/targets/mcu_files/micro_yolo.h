/* What a network's int8 grids say: boxes, decoded and suppressed. C99, no allocation, no library. Apache-2.0. */
#ifndef MICRO_YOLO_H
#define MICRO_YOLO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A detection row: three grids of height x width cells, prediction-major. */
typedef struct {
  uint16_t stride; /* pixels of the input per cell */
  uint16_t height, width;
  uint16_t anchors;
  const float *sizes; /* width and height of each anchor, in pixels of the input */
  uint8_t boxes, objectness, classes; /* which outputs of the network these grids are */
} micro_yolo_row;

/* All that is known of a network: NAME_contract in NAME_contract.c. */
typedef struct {
  uint16_t height, width; /* of the input: uint8 RGB, rows from top to bottom, height * width * 3 bytes */
  uint16_t rows, classes, outputs;
  const micro_yolo_row *row;
  const char *const *labels;     /* UTF-8, one a class */
  float score_threshold;         /* measured: detections that score more than this are worth showing */
  const float *class_thresholds; /* the same of each class; -1 where it was not measured */
  float iou_threshold;           /* of two boxes of a class that overlap more than this the weaker goes */
  const float *growth;           /* 256 values: exp(4 s - 2) for the stored s = -128 .. 127 */
} micro_yolo_contract;

/* A box that may be an object, while it waits. Eight bytes. */
typedef struct {
  uint32_t place; /* number of its prediction: row, cell, anchor */
  uint16_t score; /* objectness times probability, 0 .. 65025 */
  uint16_t kind;  /* class */
} micro_yolo_candidate;

/* An object: its corners in pixels of the network's input, within it. */
typedef struct {
  float left, top, right, bottom;
  float score; /* 0 .. 1 */
  uint16_t kind; /* class */
} micro_yolo_detection;

/* Find objects, best first; returns how many.
 *
 * outputs: the network's, in its order, as its runtime stores them.
 * score_threshold: objects score more than this, for example net->score_threshold.
 * candidates: room to work in; if there are more candidates than room the best stay. NAME_CANDIDATES are enough for what
 *   micro_yolo's Python finds.
 * found: where they go; if there are more objects than room the best stay. NAME_DETECTIONS likewise.
 *
 * Nothing is remembered from call to call; other memory is some hundred bytes of stack. Up to a candidate's suppression
 * all is integers. Time grows with the predictions, and with candidates times detections.
 */
size_t micro_yolo_find(const micro_yolo_contract *net, const int8_t *const outputs[], float score_threshold,
                       float iou_threshold, micro_yolo_candidate *candidates, size_t n_candidates,
                       micro_yolo_detection *found, size_t n_found);

#ifdef __cplusplus
}
#endif

#endif
