package org.microyolo.core

import kotlin.math.max
import kotlin.math.min
import kotlin.math.roundToInt

/** What is drawn for one object, in pixels of the view: its box, and its label's text and place. */
class Mark(val box: Box, val text: String, val label: Box, val colour: Int, val textColour: Int)

/** Measures of the label's text, in pixels. */
interface TextMeasure {
    val height: Float

    fun width(text: String): Float
}

/** Where boxes and labels are drawn; the screen only has to draw them. */
object Overlay {
    private const val BLACK = 0xFF000000.toInt()
    private const val WHITE = 0xFFFFFFFF.toInt()

    // Far apart in hue, also for most colour-blind eyes: Okabe and Ito's eight without black and grey.
    private val COLOURS =
        intArrayOf(0xE69F00, 0x56B4E9, 0x009E73, 0xF0E442, 0x0072B2, 0xD55E00, 0xCC79A7).map { it or BLACK }

    /** Opaque, the same for a class at all times. */
    fun colour(category: Int) = COLOURS[category % COLOURS.size]

    /** "ace 98 %". */
    fun text(label: String, score: Float) = "$label ${(score * 100).roundToInt()} %"

    /**
     * Marks for [found] in a view of size [view], the weakest first so that the best is drawn last. Objects outside of
     * the view are left out. A label lies above its box if there is room, else inside at the top, always within the view.
     */
    fun marks(found: Detections, labels: List<String>, toView: Affine, view: Size, measure: TextMeasure): List<Mark> =
        (found.size - 1 downTo 0).mapNotNull { i ->
            val box = clip(toView.map(found.box(i)), view) ?: return@mapNotNull null
            val text = text(labels[found.classes[i]], found.scores[i])
            val colour = colour(found.classes[i])
            Mark(box, text, place(box, measure.width(text), measure.height, view), colour, contrast(colour))
        }

    private fun clip(box: Box, view: Size): Box? {
        val x0 = max(box.x0, 0f)
        val y0 = max(box.y0, 0f)
        val x1 = min(box.x1, view.width.toFloat())
        val y1 = min(box.y1, view.height.toFloat())
        return if (x1 > x0 && y1 > y0) Box(x0, y0, x1, y1) else null
    }

    private fun place(box: Box, width: Float, height: Float, view: Size): Box {
        val x = max(min(box.x0, view.width - width), 0f)
        val y = if (box.y0 >= height) box.y0 - height else box.y0
        return Box(x, y, x + width, y + height)
    }

    private fun contrast(colour: Int): Int {
        val light = 299 * (colour shr 16 and 255) + 587 * (colour shr 8 and 255) + 114 * (colour and 255)
        return if (light > 128_000) BLACK else WHITE
    }
}
