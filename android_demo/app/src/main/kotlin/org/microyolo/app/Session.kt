package org.microyolo.app

import android.content.Context
import org.microyolo.core.Screen

/**
 * What outlives a rotation of the screen: the loaded model, the thread and GPU context it runs in, and what is shown.
 * Made of the application's context, for an activity's would keep that activity alive.
 */
class Session(context: Context) {
    private val application = context.applicationContext
    val screen = Screen<Photo>()
    val models = Models(application.assets)
    val engine = Engine(application.resources, models, Photos(application.contentResolver), screen)
}
