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
import org.microyolo.core.Size
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
    private var found = Detections.NONE
    private var labels = listOf<String>()
    private var toView = Affine.IDENTITY

    init {
        stroke.strokeWidth = dp(TypedValue.COMPLEX_UNIT_DIP, 3f)
        letters.textSize = dp(TypedValue.COMPLEX_UNIT_SP, 14f)
        show(Detections.NONE, listOf(), Affine.IDENTITY)
    }

    /** Draws [found], whose boxes [toView] maps to this view. */
    fun show(found: Detections, labels: List<String>, toView: Affine) {
        this.found = found
        this.labels = labels
        this.toView = toView
        val said = describe()
        if (said != contentDescription) contentDescription = said
        invalidate()
    }

    private fun describe(): String {
        if (found.size == 0) return resources.getString(R.string.no_objects)
        val names = found.classes.map { labels[it] }.groupingBy { it }.eachCount()
        val said = names.entries.joinToString { (name, count) -> if (count == 1) name else "$count $name" }
        return resources.getQuantityString(R.plurals.objects, found.size, found.size, said)
    }

    override fun onDraw(canvas: Canvas) {
        for (mark in Overlay.marks(found, labels, toView, Size(width, height), measure)) {
            stroke.color = mark.colour
            back.color = mark.colour
            letters.color = mark.textColour
            canvas.drawRect(mark.box.x0, mark.box.y0, mark.box.x1, mark.box.y1, stroke)
            canvas.drawRect(mark.label.x0, mark.label.y0, mark.label.x1, mark.label.y1, back)
            canvas.drawText(mark.text, mark.label.x0 + padding, mark.label.y1 - letters.textSize * 0.35f, letters)
        }
    }

    private fun dp(unit: Int, value: Float) = TypedValue.applyDimension(unit, value, resources.displayMetrics)
}
