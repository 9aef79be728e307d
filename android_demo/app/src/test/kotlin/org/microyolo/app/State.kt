package org.microyolo.app

import android.util.Size
import android.widget.Switch
import org.microyolo.core.ModelRuntime
import org.robolectric.Shadows.shadowOf
import org.robolectric.shadows.ShadowDisplay

/** What the app can look like: how to get there, on a [Phone] that was just made. */
enum class State(val reach: Phone.() -> Unit) {
    ASKING({
        camera("0", false, 90, Size(640, 480))
        answered(mayAsk = true)
    }),
    DENIED({
        camera("0", false, 90, Size(640, 480))
        answered(mayAsk = false)
    }),
    NO_CAMERA({
        grant()
        start()
        until("the model") { text(R.id.status).isEmpty() }
    }),
    CAMERA({ look(Scene.all[0], front = false, fill = false) }),
    FILLED({ look(Scene.all[2], front = false, fill = true) }),
    FRONT({ look(Scene.all[1], front = true, fill = false) }),
    TAKEN({
        look(Scene.all[0], front = false, fill = false)
        PreviewShadow.seen = null
        cameras.triggerDisconnect()
        until("the loss") { text(R.id.notice_text).isNotEmpty() }
    }),
    PHOTO({ show(Scene.all[1]) }),
    GPU_REFUSED({
        val refuse: (ByteArray) -> ModelRuntime = { throw IllegalArgumentException("TFLite_Detection_PostProcess") }
        app.runtimes.onGpu = refuse
        show(Scene.all[0])
        view<Switch>(R.id.gpu).performClick()
        until("the notice") { text(R.id.status).startsWith("The GPU cannot") }
    }),
    DAMAGED({
        val model = app.shipped("models/cards_int8.tflite")
        app.files["models/a_damaged.tflite"] = model.copyOf(model.size / 2)
        app.files["models/a_damaged.json"] = app.shipped("models/cards_int8.json")
        settings.model = "models/a_damaged.tflite"
        look(Scene.all[0], front = false, fill = false)
    })
}

private fun Phone.answered(mayAsk: Boolean) {
    deny()
    this.mayAsk(mayAsk)
    start()
    until("the model") { text(R.id.status).isEmpty() }
    val asked = shadowOf(activity).lastRequestedPermission
    activity.onRequestPermissionsResult(asked.requestCode, asked.requestedPermissions, intArrayOf(-1))
    settle()
}

/** Through the camera, however the screen is held. */
private fun Phone.look(scene: Scene, front: Boolean, fill: Boolean) {
    settings.fill = fill
    settings.front = front
    grant()
    val sensor = if (front) 270 else 90
    val display = ShadowDisplay.getDefaultDisplay().rotation * 90
    val upright = Math.floorMod(if (front) sensor + display else sensor - display, 360)
    val (width, height) = scene.size(upright)
    camera("0", front, sensor, Size(width, height))
    start()
    until("the model") { text(R.id.status).let { it.isEmpty() || ("a_damaged" in it && "SHA" in it) } }
    PreviewShadow.seen = Triple(scene.seen(upright), sensor, front)
    frame(scene.frame(upright))
    if (text(R.id.status).isEmpty()) until("objects") { objects.startsWith("${scene.frame.size} object") }
    settle()
}

private fun Phone.show(scene: Scene) {
    camera("0", false, 90, Size(640, 480))
    grant()
    start()
    choose(scene.uri(this))
    until("objects") { objects.startsWith("${scene.photo.size} object") }
}
