package org.microyolo.core

import kotlin.math.max
import kotlin.math.min
import kotlin.math.round

/** Grey around a letterboxed picture, if the contract does not say. */
const val LETTERBOX_FILL = 114

/** How a picture gets the size of a model's input. */
enum class ResizeRule(val label: String) {
    STRETCH("stretch"),
    LETTERBOX("letterbox"),

    /** As MediaPipe Tasks does on a CPU. */
    MEDIAPIPE("mediapipe")
}

/**
 * How a picture of [width] x [height] lies in an input of [toWidth] x [toHeight]: model = picture * scale + pad, in
 * pixels, per axis. The mirror of tflite/image.py.
 *
 * @property innerWidth model pixels across the picture itself, without padding.
 */
class Fit private constructor(
    val width: Int,
    val height: Int,
    val toWidth: Int,
    val toHeight: Int,
    val innerWidth: Int,
    val innerHeight: Int,
    val padX: Int,
    val padY: Int
) {
    val scaleX = innerWidth.toDouble() / width
    val scaleY = innerHeight.toDouble() / height

    /** Corners [boxes] (x0, y0, x1, y1, ... in model pixels) become picture pixels in place, clipped to the picture. */
    fun boxesToImage(boxes: FloatArray) {
        for (i in boxes.indices) {
            val across = i % 2 == 0
            val value = if (across) (boxes[i] - padX) / scaleX else (boxes[i] - padY) / scaleY
            boxes[i] = min(max(value, 0.0), (if (across) width else height).toDouble()).toFloat()
        }
    }

    companion object {
        /** Throws [ModelException] for a size that is not positive. */
        fun of(width: Int, height: Int, toWidth: Int, toHeight: Int, rule: ResizeRule): Fit {
            if (min(min(width, height), min(toWidth, toHeight)) < 1) {
                fail("resize: sizes must be positive, got ${width}x$height -> ${toWidth}x$toHeight")
            }
            if (rule != ResizeRule.LETTERBOX) {
                return Fit(width, height, toWidth, toHeight, toWidth, toHeight, 0, 0)
            }
            val scale = min(toHeight.toDouble() / height, toWidth.toDouble() / width)
            val innerHeight = min(max(round(height * scale).toInt(), 1), toHeight)
            val innerWidth = min(max(round(width * scale).toInt(), 1), toWidth)
            val padX = (toWidth - innerWidth) / 2
            val padY = (toHeight - innerHeight) / 2
            return Fit(width, height, toWidth, toHeight, innerWidth, innerHeight, padX, padY)
        }
    }
}
