package org.microyolo.app

import android.app.Activity
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.SeekBar
import android.widget.Spinner
import android.widget.Switch
import android.widget.TextView

/** The panel: shows [settings], changes them, and says so. */
class Controls(
    private val activity: Activity,
    private val settings: Settings,
    private val models: List<String>,
    private val onChange: (Change) -> Unit
) {
    enum class Change { MODEL, THRESHOLD, FILL }

    private val thresholdBar: SeekBar = activity.findViewById(R.id.threshold)
    private val thresholdText: TextView = activity.findViewById(R.id.threshold_text)

    init {
        val cores = Runtime.getRuntime().availableProcessors()
        val threads = generateSequence(1) { it * 2 }.takeWhile { it <= cores }.toList()
        if (settings.model !in models) settings.model = models.firstOrNull().orEmpty()
        if (settings.threads !in threads) settings.threads = threads.last { it <= 2 }
        spinner(R.id.model, models.map { it.substringAfterLast('/') }, models.indexOf(settings.model)) {
            settings.model = models[it]
        }
        spinner(R.id.threads, threads.map(Int::toString), threads.indexOf(settings.threads)) {
            settings.threads = threads[it]
        }
        switch(R.id.gpu, settings.gpu, Change.MODEL) { settings.gpu = it }
        switch(R.id.fill, settings.fill, Change.FILL) { settings.fill = it }
        threshold()
    }

    private fun spinner(id: Int, entries: List<String>, selected: Int, set: (Int) -> Unit) {
        val spinner: Spinner = activity.findViewById(id)
        val adapter = ArrayAdapter(activity, R.layout.entry, entries)
        adapter.setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item)
        spinner.adapter = adapter
        if (selected >= 0) spinner.setSelection(selected)
        var current = selected
        spinner.onItemSelectedListener =
            object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
                    // The first call only says what was set above.
                    if (position == current) return
                    current = position
                    set(position)
                    onChange(Change.MODEL)
                }

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
    }

    private fun switch(id: Int, checked: Boolean, change: Change, set: (Boolean) -> Unit) {
        val switch: Switch = activity.findViewById(id)
        switch.isChecked = checked
        switch.setOnCheckedChangeListener { _, now ->
            set(now)
            onChange(change)
        }
    }

    /** Shows the score above which objects are shown, in percent. */
    fun show(threshold: Int) {
        val text = activity.getString(R.string.threshold, threshold)
        // Only what is new, since TalkBack says whatever is set.
        if (text == thresholdText.text.toString()) return
        thresholdBar.isEnabled = true
        thresholdBar.progress = threshold
        thresholdText.text = text
    }

    private fun threshold() {
        // Until there is a model whose objects it chooses from.
        thresholdBar.isEnabled = false
        thresholdText.text = activity.getString(R.string.score_unknown)
        thresholdBar.setOnSeekBarChangeListener(
            object : SeekBar.OnSeekBarChangeListener {
                override fun onProgressChanged(bar: SeekBar?, progress: Int, fromUser: Boolean) {
                    if (!fromUser) return
                    settings.threshold = progress
                    show(progress)
                    onChange(Change.THRESHOLD)
                }

                override fun onStartTrackingTouch(bar: SeekBar?) = Unit

                override fun onStopTrackingTouch(bar: SeekBar?) = Unit
            }
        )
    }
}
