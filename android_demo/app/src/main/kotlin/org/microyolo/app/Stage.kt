package org.microyolo.app

import android.app.Activity
import android.content.res.Configuration
import android.os.SystemClock
import android.view.View
import android.widget.Button
import android.widget.ImageView
import android.widget.TextView
import org.microyolo.core.Affine
import org.microyolo.core.Detections
import org.microyolo.core.Notice
import org.microyolo.core.Orientation
import org.microyolo.core.Outcome
import org.microyolo.core.ScaleMode
import org.microyolo.core.Screen
import org.microyolo.core.Size

/**
 * Shows what [screen] says: a photo, boxes, figures, and a notice where a picture would be, with a button for [onNotice].
 */
class Stage(
    private val activity: Activity,
    private val screen: Screen<Photo>,
    private val settings: Settings,
    private val onNotice: (Notice) -> Unit
) {
    private val photoView: ImageView = activity.findViewById(R.id.photo)
    private val overlay: OverlayView = activity.findViewById(R.id.overlay)
    private val statistics: TextView = activity.findViewById(R.id.statistics)
    private val status: TextView = activity.findViewById(R.id.status)
    private val notice: View = activity.findViewById(R.id.notice)
    private val noticeText: TextView = activity.findViewById(R.id.notice_text)
    private val noticeButton: Button = activity.findViewById(R.id.notice_button)
    private var drawn: Photo? = null
    private var view = Size(0, 0)
    private var scaleMode = settings.scaleMode
    private var described = 0L

    init {
        overlay.addOnLayoutChangeListener { _, _, _, _, _, _, _, _, _ -> overlay.post(::show) }
        layOutAroundBars()
    }

    private fun layOutAroundBars() {
        // Only the landscape layout has something around the panel.
        val panel = activity.findViewById<View?>(R.id.bars) ?: activity.findViewById(R.id.panel)
        val landscape = activity.resources.configuration.orientation == Configuration.ORIENTATION_LANDSCAPE
        panel.onCovered {
            panel.setPadding(if (landscape) 0 else it.left, if (landscape) it.top else 0, it.right, it.bottom)
        }
    }

    /** All of it. */
    fun show() {
        scaleMode = settings.scaleMode
        status.say(screen.status)
        status.visibility = visible(screen.status.isNotEmpty())
        explain(screen.notice)
        draw(screen.photo, size())
        described = 0
        showOutcome()
    }

    /** What was found, which in a camera's picture is new many times a second. */
    fun showOutcome() {
        val outcome = screen.outcome
        val toView = screen.toView(size(), scaleMode)
        if (outcome == null || toView == null) {
            overlay.show(Detections.NONE, NO_LABELS, Affine.IDENTITY)
        } else {
            overlay.show(outcome.found, outcome.labels, toView)
        }
        val now = SystemClock.uptimeMillis()
        if (described != 0L && now - described < READABLE_MILLIS) return
        described = if (outcome == null) 0 else now
        statistics.say(if (outcome == null) "" else describe(outcome))
    }

    private fun size(): Size {
        if (view.width != overlay.width || view.height != overlay.height) view = Size(overlay.width, overlay.height)
        return view
    }

    private fun explain(why: Notice?) {
        notice.visibility = visible(why != null)
        when (why) {
            null -> return
            Notice.MayBeAsked -> explain(why, activity.getString(R.string.camera_why), R.string.allow_camera)
            Notice.Denied -> explain(why, activity.getString(R.string.camera_denied), R.string.open_settings)
            Notice.NoCamera -> explain(why, activity.getString(R.string.no_camera), R.string.photo)
            is Notice.Lost -> explain(why, activity.getString(R.string.camera_lost, why.why), R.string.try_again)
        }
    }

    private fun explain(why: Notice, text: String, button: Int) {
        noticeText.say(text)
        noticeButton.say(activity.getString(button))
        noticeButton.setOnClickListener { onNotice(why) }
    }

    private fun draw(photo: Photo?, view: Size) {
        photoView.visibility = visible(photo != null)
        if (photo !== drawn) photoView.setImageBitmap(photo?.bitmap)
        drawn = photo
        if (photo == null || view.pixels == 0L) return
        val size = Size(photo.bitmap.width, photo.bitmap.height)
        photoView.imageMatrix = matrix(Orientation.place(size, view, ScaleMode.FIT))
    }

    private fun describe(outcome: Outcome): String {
        val times = outcome.times
        val (threads, rate) = outcome.threads to outcome.framesPerSecond
        return activity.getString(
            R.string.statistics,
            // Of one picture there is none.
            if (rate > 0) activity.getString(R.string.rate, rate) else "",
            times.total,
            times.preprocess,
            times.inference,
            times.decode,
            outcome.modelName,
            outcome.modelBytes / 1048576.0,
            if (threads == null) "GPU" else activity.resources.getQuantityString(R.plurals.cpu, threads, threads)
        )
    }

    private fun visible(wanted: Boolean) = if (wanted) View.VISIBLE else View.GONE

    /** Only what is new, since TalkBack says whatever is set. */
    private fun TextView.say(text: String) {
        if (text != this.text.toString()) this.text = text
    }

    private companion object {
        val NO_LABELS = listOf<String>()

        /** Numbers that change faster cannot be read. */
        const val READABLE_MILLIS = 500L
    }
}
