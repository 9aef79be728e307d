package org.microyolo.app

import android.media.Image
import android.net.Uri
import android.os.Handler
import android.os.HandlerThread
import android.os.Looper
import java.io.IOException
import org.microyolo.core.Detections
import org.microyolo.core.Detector
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

    // Used by whoever is inside the gate.
    private val planes = Array(3) { ByteArray(0) }
    private val smoother = Smoother()
    private val statistics = Statistics()
    private var choice: Choice? = null
    private var detector: Detector? = null
    private var onGpu = false
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

    /**
     * Looks for objects in a camera's frame turned clockwise by [degrees]. The frame is copied and closed at once, since
     * its memory goes away with the camera; so it must come on the camera's thread.
     */
    fun offer(frame: Image, degrees: Int) {
        if (!gate.tryEnter()) {
            frame.close()
            return
        }
        val copied =
            try {
                frame.use { Frame(it.width, it.height, List(3) { i -> copy(it.planes[i], i) }) }
            } catch (_: IllegalStateException) {
                // The camera took the frame back.
                if (gate.leave()) handler.post(::free)
                return
            }
        handler.post {
            try {
                work(copied, degrees)
            } finally {
                if (gate.leave()) free()
            }
        }
    }

    private class Frame(val width: Int, val height: Int, val planes: List<Plane>)

    private fun work(frame: Frame, degrees: Int) {
        if (detector == null) return
        val started = System.nanoTime()
        val (luma, blue, red) = frame.planes
        val image = converter.upright(frame.width, frame.height, luma, blue, red, degrees)
        onFrame(image, (System.nanoTime() - started) / 1e6)
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

    private fun onFrame(image: RgbImage, converting: Double) {
        val outcome = detect(image, converting) { found, least -> smoother.smooth(found, least) } ?: return
        say { onFrame(outcome) }
    }

    private fun onPhoto() {
        val shown = photo ?: return
        val outcome = detect(shown.image, 0.0) { found, _ -> found } ?: return
        say { onPhoto(shown, outcome) }
    }

    private fun detect(image: RgbImage, converting: Double, after: (Detections, Float) -> Detections): Outcome? {
        val ready = detector ?: return null
        val least = scoreThreshold ?: ready.model.contract.nms.scoreThreshold
        val found =
            try {
                ready.detect(image, least)
            } catch (error: RuntimeException) {
                onRuntimeFailure(error)
                return null
            }
        val times = found.times.copy(preprocess = found.times.preprocess + converting)
        statistics.add(System.nanoTime(), times)
        val model = ready.model
        return Outcome(
            after(found.detections, least),
            model.contract.labels,
            Size(image.width, image.height),
            statistics.times,
            statistics.framesPerSecond,
            model.name,
            model.bytes,
            choice?.threads.takeUnless { onGpu }
        )
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

    private fun copy(plane: Image.Plane, index: Int): Plane {
        val size = plane.buffer.remaining()
        if (planes[index].size != size) planes[index] = ByteArray(size)
        plane.buffer.get(planes[index])
        return Plane(planes[index], plane.rowStride, plane.pixelStride)
    }

    private fun unreadable(why: String) = say { onPhotoFailed(resources.getString(R.string.photo_unreadable, why)) }

    private fun fail(message: String) = say { onModelFailed(message) }

    private fun say(what: Screen<Photo>.() -> Unit) {
        main.post { if (!closed) screen.what() }
    }

    private fun firstLine(error: Throwable) = (error.message ?: error.toString()).lineSequence().first()
}
