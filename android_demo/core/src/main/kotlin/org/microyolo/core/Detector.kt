package org.microyolo.core

import java.nio.ByteBuffer

/** What runs a graph: TFLite on a phone, TFLite's desktop build in tests. Not for several threads at once. */
interface ModelRuntime : AutoCloseable {
    val inputs: List<TensorSpec>
    val outputs: List<TensorSpec>

    /** Runs the graph once on [input]; the output at i of [outputs] goes into [results] at i. All are direct buffers. */
    fun run(input: ByteBuffer, results: List<ByteBuffer>)
}

/** Says nanoseconds since some moment. A function type would make an object of each. */
fun interface Clock {
    fun nanos(): Long
}

/** Milliseconds that the steps of one picture took. */
data class Times(var preprocess: Double = 0.0, var inference: Double = 0.0, var decode: Double = 0.0) {
    val total get() = preprocess + inference + decode

    fun set(preprocess: Double, inference: Double, decode: Double) {
        this.preprocess = preprocess
        this.inference = inference
        this.decode = decode
    }
}

/** Objects in a picture, boxes in its pixels, and how long finding them took; until the next picture. */
class Found {
    var detections = Detections.NONE
        internal set
    val times = Times()
}

/**
 * Picture in, objects out, by a [ModelRuntime] that has [model] loaded; the mirror of tflite/detector.py. Its buffers are
 * made once, and what it gives is overwritten by the next picture. Not for several threads at once. Closing it closes the runtime.
 *
 * [ModelException] when made: the runtime found other tensors than the contract says. Then it is closed.
 */
class Detector(
    val model: ModelFile,
    private val runtime: ModelRuntime,
    private val clock: Clock = Clock(System::nanoTime)
) : AutoCloseable {
    private val contract = model.contract
    private val resizer = contract.input.let { Resizer(it.width, it.height, it.resize, it.fill) }
    private val writer = InputWriter(contract.input.tensor)
    private val input = bufferFor(contract.input.tensor)
    private val results: List<ByteBuffer>
    private val readers = contract.outputs.map { OutputReader(it.tensor) }
    private val places: IntArray
    private val decoder = contract.coding.decoder(contract)
    private val values: List<FloatArray>
    private val found = Found()
    private var closed = false

    init {
        try {
            model.compare(runtime.inputs, runtime.outputs)
        } catch (error: ModelException) {
            runtime.close()
            throw error
        }
        results = runtime.outputs.map(::bufferFor)
        places =
            contract.outputs
                .map { output -> runtime.outputs.indexOfFirst { it.index == output.tensor.index } }
                .toIntArray()
        values = readers.mapIndexed { i, reader -> reader.read(results[places[i]]) }
    }

    /**
     * Objects in [image] that score more than [scoreThreshold]; thresholds default to the contract's. A file with the
     * detections head suppresses at its own [iouThreshold].
     *
     * IllegalStateException after [close]; [ModelException] if the file finds a class that has no label.
     */
    fun detect(
        image: RgbImage,
        scoreThreshold: Float = contract.nms.scoreThreshold,
        iouThreshold: Float = contract.nms.iouThreshold
    ): Found {
        check(!closed) { "${model.path}: the detector is closed" }
        val start = clock.nanos()
        val (fit, pixels) = resizer.resize(image)
        writer.write(pixels, input)
        val ready = clock.nanos()
        runtime.run(input, results)
        val ran = clock.nanos()
        for (i in readers.indices) readers[i].read(results[places[i]])
        val objects = decoder.decode(values, scoreThreshold, iouThreshold)
        checkClasses(objects)
        fit.boxesToImage(objects.boxes)
        val done = clock.nanos()
        found.detections = objects
        found.times.set((ready - start) / 1e6, (ran - ready) / 1e6, (done - ran) / 1e6)
        return found
    }

    /** The operator in the file has its own number of classes, which only its outputs tell. */
    private fun checkClasses(found: Detections) {
        val labels = contract.labels.size
        for (category in found.classes) {
            if (category !in 0 until labels) {
                fail("${model.path}: finds class $category, its contract has $labels labels")
            }
        }
    }

    override fun close() {
        if (!closed) runtime.close()
        closed = true
    }
}
