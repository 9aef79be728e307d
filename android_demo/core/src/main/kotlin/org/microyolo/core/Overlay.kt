package org.microyolo.core

import kotlin.math.max
import kotlin.math.min
import kotlin.math.pow
import kotlin.math.roundToInt
import kotlin.math.sqrt

/** What is drawn for one object, in pixels of the view: its box, and its label's text and place. */
class Mark internal constructor() {
    val box = Box(0f, 0f, 0f, 0f)
    val label = Box(0f, 0f, 0f, 0f)
    var text = ""
        internal set
    var colour = 0
        internal set
    var textColour = 0
        internal set
}

/** Measures of the label's text, in pixels. */
interface TextMeasure {
    val height: Float

    fun width(text: String): Float
}

/** Where boxes and labels are drawn; the screen only has to draw them. Keeps its marks and texts, which it places anew. */
class Overlay(private val measure: TextMeasure) {
    private val marks = ArrayList<Mark>()
    private var labels = listOf<String>()
    private var texts = arrayOf<Array<String?>>()

    /** Marks that can be drawn, the weakest first so that the best is drawn last. */
    var size = 0
        private set

    operator fun get(i: Int) = marks[i]

    /**
     * Marks for [found] in a view of [width] x [height]. Objects outside of the view are left out. A label lies above its
     * box if there is room, else inside at the top, always within the view.
     */
    fun place(found: Detections, labels: List<String>, toView: Affine, width: Int, height: Int) {
        if (labels !== this.labels) texts = Array(labels.size) { arrayOfNulls(101) }
        this.labels = labels
        size = 0
        for (i in found.size - 1 downTo 0) {
            if (size == marks.size) marks += Mark()
            val mark = marks[size]
            toView.map(found.boxes, 4 * i, mark.box)
            if (!clip(mark.box, width.toFloat(), height.toFloat())) continue
            mark.text = text(found.classes[i], found.scores[i])
            mark.colour = colour(found.classes[i])
            mark.textColour = textColour(found.classes[i])
            place(mark, width)
            size++
        }
    }

    /** "ace 98 %". */
    private fun text(category: Int, score: Float): String {
        val percent = (score * 100).roundToInt().coerceIn(0, 100)
        return texts[category][percent] ?: "${labels[category]} $percent %".also { texts[category][percent] = it }
    }

    /** Whether something of [box] is left within the view. */
    private fun clip(box: Box, width: Float, height: Float): Boolean {
        box.x0 = max(box.x0, 0f)
        box.y0 = max(box.y0, 0f)
        box.x1 = min(box.x1, width)
        box.y1 = min(box.y1, height)
        return box.x1 > box.x0 && box.y1 > box.y0
    }

    private fun place(mark: Mark, viewWidth: Int) {
        val width = measure.width(mark.text)
        val height = measure.height
        val x = max(min(mark.box.x0, viewWidth - width), 0f)
        val y = if (mark.box.y0 >= height) mark.box.y0 - height else mark.box.y0
        mark.label.x0 = x
        mark.label.y0 = y
        mark.label.x1 = x + width
        mark.label.y1 = y + height
    }

    companion object {
        private const val BLACK = 0xFF000000.toInt()
        private const val WHITE = 0xFFFFFFFF.toInt()

        // Far apart in hue, also for most colour-blind eyes: Okabe and Ito's eight without black and grey.
        private val COLOURS = intArrayOf(0xE69F00, 0x56B4E9, 0x009E73, 0xF0E442, 0x0072B2, 0xD55E00, 0xCC79A7)

        // White on black has (1 + 0.05) / (0 + 0.05), so in the middle by ratio black and white are equally readable.
        private val MIDDLE = sqrt(1.05 * 0.05) - 0.05

        /** Opaque, the same for a class at all times. */
        fun colour(category: Int) = COLOURS[category % COLOURS.size] or BLACK

        /** Black or white, whichever can be read better on the [colour] of a class. */
        fun textColour(category: Int) = if (luminance(colour(category)) > MIDDLE) BLACK else WHITE

        /** WCAG 2.2: relative luminance, 0..1. */
        private fun luminance(colour: Int) =
            0.2126 * linear(colour shr 16) + 0.7152 * linear(colour shr 8) + 0.0722 * linear(colour)

        private fun linear(channel: Int): Double {
            val value = (channel and 255) / 255.0
            return if (value <= 0.04045) value / 12.92 else ((value + 0.055) / 1.055).pow(2.4)
        }
    }
}
