package org.microyolo.app

import android.app.Application
import org.microyolo.core.ModelRuntime

/** Where models can run. What they throw is why one cannot. */
interface Runtimes {
    fun cpu(data: ByteArray, threads: Int): ModelRuntime

    /** Null if this device's GPU is not known to run TFLite. */
    fun gpu(data: ByteArray): ModelRuntime?
}

/** What the activity takes from outside. Where there is no device, another one stands in for it. */
open class App : Application() {
    open val runtimes: Runtimes = TfliteRuntime
    open val models by lazy { Models(assets::list, assets::open) }
}
