package org.microyolo.app

import android.media.Image
import android.net.Uri
import android.os.Handler
import android.os.HandlerThread
import android.os.Looper
import java.io.IOException
import org.microyolo.core.Detections
import org.microyolo.core.Detector
import org.microyolo.core.Found
import org.microyolo.core.FrameGate
import org.microyolo.core.HeadKind
import org.microyolo.core.ModelException
import org.microyolo.core.ModelRuntime
import org.microyolo.core.Outcome
import org.microyolo.core.Plane
import org.microyolo.core.RgbImage
import org.microyolo.core.Screen
import org.microyolo.core.Size
import org.microyolo.core.Smoother
import org.microyolo.core.Statistics
import org.microyolo.core.Times
import org.microyolo.core.YuvConverter

/** How to run which model. */
data class Choice(val model: String, val threads: Int, val gpu: Boolean)

/**
 * Runs models on a thread of its own. Frames that come while one is worked on are dropped. What it finds it says to
 * [screen] on the main thread, and nothing any more after [close]. It outlives activities and must know none.
 */
class Engine(
    application: App,
    private val models: Models,
    private val photos: Photos,
    private val screen: Screen<Photo>
) {
    private val resources = application.resources
    private val runtimes = application.runtimes
    private val thread = HandlerThread("inference").apply { start() }
    private val handler = Handler(thread.looper)
    private val main = Handler(Looper.getMainLooper())
    private val gate = FrameGate()
    private val converter = YuvConverter()

    // Used by whoever is inside the gate: a frame stays inside until its boxes are on the screen, so that all of this is
    // made once and used again for the next.
    private val planes = Array(3) { Plane(ByteArray(0), 0, 0) }
    private var width = 0
    private var height = 0
    private var degrees = 0
    private val outcomes = List(2) { Outcome(Detections.NONE, listOf(), Size(0, 0), Times(), 0.0, "", 0, null) }
    private var turn = 0
    private val smoother = Smoother()
    private val statistics = Statistics()
    private var choice: Choice? = null
    private var detector: Detector? = null
    private var onGpu = false
    private var threads: Int? = null
    private var photo: Photo? = null

    @Volatile
    private var closed = false

    /** Objects show that score more than this; null: than the model's contract says. */
    @Volatile
    var scoreThreshold: Float? = null

    /** Loads a model; frames that come meanwhile are dropped. */
    fun load(choice: Choice) {
        handler.post { if (choice != this.choice || detector == null) open(choice) }
    }

    /** Gives the model's memory back until [load]. */
    fun unload() {
        handler.post {
            detector?.close()
            detector = null
        }
    }

    /**
     * Looks for objects in a camera's frame turned clockwise by [degrees]. The frame is copied and closed at once, since
     * its memory goes away with the camera; so it must come on the camera's thread.
     */
    fun offer(frame: Image, degrees: Int) {
        if (!gate.tryEnter()) {
            frame.close()
            return
        }
        try {
            frame.use {
                width = it.width
                height = it.height
                val from = it.planes
                for (i in planes.indices) copy(from[i], i)
            }
        } catch (_: IllegalStateException) {
            // The camera took the frame back.
            leave()
            return
        }
        this.degrees = degrees
        // Refused once the thread has ended.
        if (!handler.post(search)) leave()
    }

    private fun leave() {
        if (gate.leave()) handler.post(::free)
    }

    private val search = Runnable {
        if (!searchFrame() || !main.post(showFrame)) leave()
    }

    private val showFrame = Runnable {
        if (!closed) screen.onFrame(outcomes[turn])
        leave()
    }

    /** Whether there is something to show. */
    private fun searchFrame(): Boolean {
        val ready = detector ?: return false
        val started = System.nanoTime()
        val image = converter.upright(width, height, planes[0], planes[1], planes[2], degrees)
        val converting = (System.nanoTime() - started) / 1e6
        val found = search(ready, image) ?: return false
        found.times.preprocess += converting
        turn = 1 - turn
        fill(outcomes[turn], ready, found, smoother.smooth(found.detections, least(ready)), image)
        return true
    }

    /** Reads a picture and looks for objects in it. */
    fun read(uri: Uri) {
        handler.post {
            try {
                photo = photos.read(uri)
                if (photo == null) unreadable(resources.getString(R.string.photo_not_image)) else onPhoto()
            } catch (error: IOException) {
                unreadable(error.message.orEmpty())
            } catch (error: SecurityException) {
                unreadable(error.message.orEmpty())
            } catch (error: ModelException) {
                unreadable(error.message.orEmpty())
            } catch (error: OutOfMemoryError) {
                unreadable(error.toString())
            }
        }
    }

    /** Looks at the photo again, such as with another threshold. */
    fun again() {
        handler.removeCallbacks(lookAgain)
        handler.post(lookAgain)
    }

    private val lookAgain = Runnable { if (photo != null) onPhoto() }

    /** Forgets the photo and what was seen before. */
    fun reset() {
        handler.post {
            photo = null
            smoother.reset()
            statistics.reset()
        }
    }

    /** Ends the thread once the frame it works on is done. */
    fun close() {
        closed = true
        if (gate.close()) handler.post(::free)
    }

    private fun free() {
        detector?.close()
        detector = null
        thread.quitSafely()
    }

    private fun open(choice: Choice) {
        if (closed) return
        this.choice = choice
        detector?.close()
        detector = null
        smoother.reset()
        statistics.reset()
        try {
            val (model, data) = models.open(choice.model)
            val refusal = if (choice.gpu) openOnGpu { Detector(model, it(data)) } else null
            if (detector == null) {
                detector = Detector(model, runtimes.cpu(data, choice.threads))
                onGpu = false
            }
            threads = if (onGpu) null else choice.threads
            val notice =
                when {
                    refusal != null -> resources.getString(R.string.gpu_fallback, refusal)
                    onGpu && model.contract.head == HeadKind.DETECTIONS -> resources.getString(R.string.gpu_partly)
                    else -> null
                }
            say { onModel(model.contract.nms.scoreThreshold, notice.orEmpty()) }
            if (photo != null) onPhoto()
        } catch (error: ModelException) {
            fail(error.message.orEmpty())
        } catch (error: RuntimeException) {
            fail(resources.getString(R.string.failed, choice.model, firstLine(error)))
        } catch (error: LinkageError) {
            fail(resources.getString(R.string.failed, choice.model, firstLine(error)))
        }
    }

    /** Null if the model now runs on the GPU, else why not. */
    private fun openOnGpu(make: ((ByteArray) -> ModelRuntime) -> Detector): String? = try {
        detector =
            make { runtimes.gpu(it) ?: throw IllegalStateException(resources.getString(R.string.gpu_unknown)) }
        onGpu = true
        null
    } catch (error: RuntimeException) {
        firstLine(error)
    } catch (error: LinkageError) {
        firstLine(error)
    }

    private fun onPhoto() {
        val shown = photo ?: return
        val ready = detector ?: return
        val found = search(ready, shown.image) ?: return
        // It stays on the screen while the detector goes on to others.
        val outcome = Outcome(Detections.NONE, listOf(), Size(0, 0), Times(), 0.0, "", 0, null)
        fill(outcome, ready, found, found.detections.copy(), shown.image)
        say { onPhoto(shown, outcome) }
    }

    private fun least(ready: Detector) = scoreThreshold ?: ready.model.contract.nms.scoreThreshold

    /** Null if the runtime failed, which the user is told. */
    private fun search(ready: Detector, image: RgbImage): Found? = try {
        ready.detect(image, least(ready))
    } catch (error: RuntimeException) {
        onRuntimeFailure(error)
        null
    }

    private fun fill(outcome: Outcome, ready: Detector, found: Found, shown: Detections, image: RgbImage) {
        statistics.add(System.nanoTime(), found.times)
        val before = outcome.picture
        if (before.width != image.width || before.height != image.height) {
            outcome.picture = Size(image.width, image.height)
        }
        outcome.found = shown
        outcome.labels = ready.model.contract.labels
        statistics.means(outcome.times)
        outcome.framesPerSecond = statistics.framesPerSecond
        outcome.modelName = ready.model.name
        outcome.modelBytes = ready.model.bytes
        outcome.threads = threads
    }

    private fun onRuntimeFailure(error: RuntimeException) {
        val failed = choice ?: return
        val why = firstLine(error)
        if (!onGpu) {
            detector?.close()
            detector = null
            fail(if (error is ModelException) why else resources.getString(R.string.failed, failed.model, why))
            return
        }
        open(failed.copy(gpu = false))
        choice = failed
        if (detector != null) say { onStatus(resources.getString(R.string.gpu_fallback, why)) }
    }

    private fun copy(plane: Image.Plane, index: Int) {
        val from = plane.buffer
        val size = from.remaining()
        val rowStride = plane.rowStride
        val pixelStride = plane.pixelStride
        val before = planes[index]
        if (before.bytes.size != size || before.rowStride != rowStride || before.pixelStride != pixelStride) {
            planes[index] = Plane(ByteArray(size), rowStride, pixelStride)
        }
        from.get(planes[index].bytes)
    }

    private fun unreadable(why: String) = say { onPhotoFailed(resources.getString(R.string.photo_unreadable, why)) }

    private fun fail(message: String) = say { onModelFailed(message) }

    private fun say(what: Screen<Photo>.() -> Unit) {
        main.post { if (!closed) screen.what() }
    }

    private fun firstLine(error: Throwable) = (error.message ?: error.toString()).lineSequence().first()
}
