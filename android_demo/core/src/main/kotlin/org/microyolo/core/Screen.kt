package org.microyolo.core

/**
 * Objects in an upright picture of size [picture], and how the last frames went; [threads] is null on a GPU. Of a camera's
 * frame it holds until the frame after the next.
 */
class Outcome(
    var found: Detections,
    var labels: List<String>,
    var picture: Size,
    val times: Times,
    var framesPerSecond: Double,
    var modelName: String,
    var modelBytes: Int,
    var threads: Int?
)

/** Why the camera shows nothing, which decides what the user can do about it. */
sealed interface Notice {
    data object MayBeAsked : Notice

    data object Denied : Notice

    data object NoCamera : Notice

    data class Lost(val why: String) : Notice
}

/** A camera that is on: the size of its frames, and how they lie on the screen. */
data class CameraView(val frame: Size, val orientation: Orientation) {
    /** Of a frame that was turned upright. */
    val picture = frame.turned(orientation.upright)
}

/**
 * What is shown, from what happens. It outlives the activity that shows it, so that nothing gets lost while the screen is
 * turned; only its [listener] is of that activity. For the main thread.
 *
 * @param P a photo.
 */
class Screen<P : Any> {
    interface Listener {
        /** Something else is to be shown. */
        fun onScreenChanged()

        /** As before, but something else was found. */
        fun onOutcome()

        /** A photo could not be used, so the camera is shown again. */
        fun onCameraWanted()
    }

    /** Null while no activity shows this. */
    var listener: Listener? = null

    /** A line for the user, "" for none. */
    var status = ""
        private set

    /** The score above which the model's contract shows objects; null until there is a model. */
    var threshold: Float? = null
        private set

    /** Stands where the camera's picture would be. */
    var notice: Notice? = null
        private set

    /** What was found in the picture that is shown. */
    var outcome: Outcome? = null
        private set

    /** Whether a photo is shown, or will be as soon as it was searched. */
    var isPhoto = false
        private set

    var photo: P? = null
        private set

    /** Null while no camera is on. For any thread. */
    @Volatile
    var camera: CameraView? = null
        private set

    fun onStatus(text: String) = change { status = text }

    /** A model is ready, with a line for the user. */
    fun onModel(threshold: Float, notice: String) = change {
        this.threshold = threshold
        status = notice
    }

    /** The model cannot be used: what it found may be wrong. */
    fun onModelFailed(message: String) = change {
        outcome = null
        status = message
    }

    /** The camera is on, and how; or it is off. What was found before it turned lies elsewhere now. */
    fun onCamera(now: CameraView?) {
        if (now == camera) return
        change {
            camera = now
            if (now != null) notice = null
            if (!isPhoto) outcome = null
        }
    }

    fun onNoCamera(why: Notice) {
        onCamera(null)
        change { notice = why }
    }

    /** [outcome] of a frame; it may have been under way since before the camera was turned off, or turned. */
    fun onFrame(outcome: Outcome) {
        if (isPhoto || outcome.picture != camera?.picture) return
        this.outcome = outcome
        listener?.onOutcome()
    }

    /** Another photo that is shown stays until this one was searched. */
    fun onPhotoChosen() = change {
        if (!isPhoto) outcome = null
        isPhoto = true
        notice = null
    }

    /** [outcome] of the photo, unless the user went back to the camera meanwhile. */
    fun onPhoto(photo: P, outcome: Outcome) {
        if (!isPhoto) return
        change {
            this.photo = photo
            this.outcome = outcome
        }
    }

    fun onPhotoFailed(message: String) {
        if (!isPhoto) return
        onPhotoLeft()
        onStatus(message)
        listener?.onCameraWanted()
    }

    fun onPhotoLeft() = change {
        isPhoto = false
        photo = null
        outcome = null
    }

    /** How the picture that was searched lies in a view of size [view]; null while nothing was, or nothing can be seen. */
    fun toView(view: Size, mode: ScaleMode): Affine? {
        val picture = outcome?.picture ?: return null
        if (view.pixels == 0L) return null
        val orientation = if (isPhoto) null else camera?.orientation ?: return null
        placed?.let { if (it.isOf(orientation, picture, view, mode)) return it.toView }
        return Placed(orientation, picture, view, mode).also { placed = it }.toView
    }

    private var placed: Placed? = null

    /** How a picture lies in a view, which is the same from one frame to the next; without [orientation] it is a photo. */
    private class Placed(
        private val orientation: Orientation?,
        private val picture: Size,
        private val view: Size,
        private val mode: ScaleMode
    ) {
        val toView = orientation?.toView(picture, view, mode) ?: Orientation.place(picture, view, ScaleMode.FIT)

        fun isOf(orientation: Orientation?, picture: Size, view: Size, mode: ScaleMode) =
            orientation == this.orientation && picture == this.picture && view == this.view && mode == this.mode
    }

    private inline fun change(what: () -> Unit) {
        what()
        listener?.onScreenChanged()
    }
}
