package org.microyolo.app

import android.content.Context
import android.graphics.Canvas
import android.graphics.Paint
import android.util.AttributeSet
import android.util.TypedValue
import android.view.View
import org.microyolo.core.Affine
import org.microyolo.core.Detections
import org.microyolo.core.Overlay
import org.microyolo.core.TextMeasure

/** Boxes with labels over a picture, where [Overlay] places them; says to TalkBack what they are. */
class OverlayView(context: Context, attributes: AttributeSet?) : View(context, attributes) {
    private val stroke = Paint(Paint.ANTI_ALIAS_FLAG).apply { style = Paint.Style.STROKE }
    private val back = Paint()
    private val letters = Paint(Paint.ANTI_ALIAS_FLAG)
    private val padding = dp(TypedValue.COMPLEX_UNIT_DIP, 4f)
    private val measure =
        object : TextMeasure {
            override val height get() = letters.textSize * 1.3f

            override fun width(text: String) = letters.measureText(text) + 2 * padding
        }
    private val overlay = Overlay(measure)
    private var found = Detections.NONE
    private var labels: List<String>? = null
    private var toView = Affine.IDENTITY

    // Objects of each class: now, and when it was said.
    private var counts = IntArray(0)
    private var said = IntArray(0)

    init {
        stroke.strokeWidth = dp(TypedValue.COMPLEX_UNIT_DIP, 3f)
        letters.textSize = dp(TypedValue.COMPLEX_UNIT_SP, 14f)
        show(Detections.NONE, listOf(), Affine.IDENTITY)
    }

    /** Draws [found], whose boxes [toView] maps to this view. */
    fun show(found: Detections, labels: List<String>, toView: Affine) {
        this.found = found
        this.toView = toView
        say(found.classes, labels)
        invalidate()
    }

    /** Only what is new, since TalkBack says whatever is set. */
    private fun say(classes: IntArray, labels: List<String>) {
        val isNew = labels !== this.labels
        if (isNew) {
            this.labels = labels
            counts = IntArray(labels.size)
            said = IntArray(labels.size)
        }
        counts.fill(0)
        for (category in classes) counts[category]++
        if (!isNew && counts.contentEquals(said)) return
        counts.copyInto(said)
        contentDescription = describe(labels)
    }

    private fun describe(labels: List<String>): String {
        if (found.size == 0) return resources.getString(R.string.no_objects)
        val seen = labels.indices.filter { said[it] > 0 }
        val names = seen.joinToString { if (said[it] == 1) labels[it] else "${said[it]} ${labels[it]}" }
        return resources.getQuantityString(R.plurals.objects, found.size, found.size, names)
    }

    override fun onDraw(canvas: Canvas) {
        overlay.place(found, labels.orEmpty(), toView, width, height)
        for (i in 0 until overlay.size) {
            val mark = overlay[i]
            stroke.color = mark.colour
            canvas.drawRect(mark.box.x0, mark.box.y0, mark.box.x1, mark.box.y1, stroke)
        }
        // A box of one object does not go through the label of another.
        for (i in 0 until overlay.size) {
            val mark = overlay[i]
            back.color = mark.colour
            letters.color = mark.textColour
            canvas.drawRect(mark.label.x0, mark.label.y0, mark.label.x1, mark.label.y1, back)
            canvas.drawText(mark.text, mark.label.x0 + padding, mark.label.y1 - letters.textSize * 0.35f, letters)
        }
    }

    private fun dp(unit: Int, value: Float) = TypedValue.applyDimension(unit, value, resources.displayMetrics)
}
