package org.microyolo.app

import android.content.Context
import org.microyolo.core.Screen

/**
 * What outlives a rotation of the screen: the loaded model, the thread and GPU context it runs in, and what is shown.
 * Made of the application's context, for an activity's would keep that activity alive.
 */
class Session(context: Context) {
    private val application = context.applicationContext as App
    val screen = Screen<Photo>()
    val models = application.models
    val engine = Engine(application, models, Photos(application.contentResolver), screen)

    /** Whether the model was given back while nobody looked. */
    var trimmed = false
}
