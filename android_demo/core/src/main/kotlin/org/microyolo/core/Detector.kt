package org.microyolo.core

import java.nio.ByteBuffer

/** What runs a graph: TFLite on a phone, TFLite's desktop build in tests. Not for several threads at once. */
interface ModelRuntime : AutoCloseable {
    val inputs: List<TensorSpec>
    val outputs: List<TensorSpec>

    /** Runs the graph once on [input]; the output at i of [outputs] goes into [results] at i. All are direct buffers. */
    fun run(input: ByteBuffer, results: List<ByteBuffer>)
}

/** Milliseconds that the steps of one picture took. */
data class Times(val preprocess: Double, val inference: Double, val decode: Double) {
    val total get() = preprocess + inference + decode
}

/** Objects in a picture, boxes in its pixels, and how long finding them took. */
class Found(val detections: Detections, val times: Times)

/**
 * Picture in, objects out, by a [ModelRuntime] that has [model] loaded; the mirror of tflite/detector.py. Its buffers are
 * made once. Not for several threads at once. Closing it closes the runtime.
 *
 * [ModelException] when made: the runtime found other tensors than the contract says. Then it is closed.
 */
class Detector(
    val model: ModelFile,
    private val runtime: ModelRuntime,
    private val nanoTime: () -> Long = System::nanoTime
) : AutoCloseable {
    private val contract = model.contract
    private val resizer = contract.input.let { Resizer(it.width, it.height, it.resize, it.fill) }
    private val writer = InputWriter(contract.input.tensor)
    private val input = bufferFor(contract.input.tensor)
    private val results: List<ByteBuffer>
    private val readers = contract.outputs.map { OutputReader(it.tensor) }
    private val places: List<Int>
    private val decoder = contract.coding.decoder(contract)
    private var closed = false

    init {
        try {
            model.compare(runtime.inputs, runtime.outputs)
        } catch (error: ModelException) {
            runtime.close()
            throw error
        }
        results = runtime.outputs.map(::bufferFor)
        places = contract.outputs.map { output -> runtime.outputs.indexOfFirst { it.index == output.tensor.index } }
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
        val start = nanoTime()
        val (fit, pixels) = resizer.resize(image)
        writer.write(pixels, input)
        val ready = nanoTime()
        runtime.run(input, results)
        val ran = nanoTime()
        val values = readers.mapIndexed { i, reader -> reader.read(results[places[i]]) }
        val found = decoder.decode(values, scoreThreshold, iouThreshold)
        checkClasses(found)
        fit.boxesToImage(found.boxes)
        val done = nanoTime()
        return Found(found, Times((ready - start) / 1e6, (ran - ready) / 1e6, (done - ran) / 1e6))
    }

    /** The operator in the file has its own number of classes, which only its outputs tell. */
    private fun checkClasses(found: Detections) {
        val labels = contract.labels.size
        val stray = found.classes.find { it !in 0 until labels } ?: return
        fail("${model.path}: finds class $stray, its contract has $labels labels")
    }

    override fun close() {
        if (!closed) runtime.close()
        closed = true
    }
}
