package org.microyolo.app

import java.io.File
import java.nio.ByteBuffer
import java.util.Collections
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger
import org.microyolo.core.ModelRuntime
import org.microyolo.desktop.DesktopRuntime

/** The app with its own models and those in [files], run by the desktop's TFLite. */
class TestApp : App() {
    override val runtimes = DesktopRuntimes()

    /** Path in the assets -> content, beside what the app ships. */
    val files = HashMap<String, ByteArray>()

    override val models by lazy {
        Models(
            { folder -> arrayOf(*assets.list(folder).orEmpty(), *files.keys.map { File(it).name }.toTypedArray()) },
            { path -> files[path]?.inputStream() ?: assets.open(path) }
        )
    }

    fun shipped(path: String) = assets.open(path).use { it.readBytes() }
}

class DesktopRuntimes : Runtimes {
    /** What the GPU does: null if there is none that is known. */
    var onGpu: ((ByteArray) -> ModelRuntime)? = null
    val opened = AtomicInteger()
    val closed = AtomicInteger()
    val runs = AtomicInteger()

    /** Threads asked for, one entry for each model that was loaded. */
    val threads: MutableList<Int> = Collections.synchronizedList(ArrayList())

    /** Waited for before every run, where it is set. */
    @Volatile
    var hold: CountDownLatch? = null

    override fun cpu(data: ByteArray, threads: Int): ModelRuntime {
        this.threads += threads
        return counted(DesktopRuntime(data))
    }

    override fun gpu(data: ByteArray): ModelRuntime? = onGpu?.invoke(data)

    fun counted(runtime: ModelRuntime): ModelRuntime = Counted(runtime)

    /** Says what it costs to be called from another thread than the one it was made on, as a GPU's context does. */
    private inner class Counted(private val runtime: ModelRuntime) : ModelRuntime by runtime {
        private val home = Thread.currentThread()

        init {
            opened.incrementAndGet()
        }

        override fun run(input: ByteBuffer, results: List<ByteBuffer>) {
            check(Thread.currentThread() === home) { "run on ${Thread.currentThread().name}, made on ${home.name}" }
            hold?.await()
            runtime.run(input, results)
            runs.incrementAndGet()
        }

        override fun close() {
            check(Thread.currentThread() === home) { "closed on ${Thread.currentThread().name}, made on ${home.name}" }
            runtime.close()
            closed.incrementAndGet()
        }
    }
}

/** A GPU that takes a model and then cannot run it. */
class BrokenRuntime(private val runtime: ModelRuntime) : ModelRuntime by runtime {
    override fun run(input: ByteBuffer, results: List<ByteBuffer>): Unit = throw IllegalStateException("out of shaders")
}
